-- When a message leaves, and why on this channel.

-- The priority that the customer gave the channel; null: she said nothing about it, and the order is the matrix's own.
alter table notifications add column preferred integer;
-- Its place among the messages of its customer, where RECIPIENT_THROTTLE_PER_HOUR counts them; it may lie ahead.
alter table notifications add column admitted_at timestamptz;
