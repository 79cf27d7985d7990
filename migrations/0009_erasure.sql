-- What is left of a person who asked to be forgotten: ids, states, times and codes.

-- When its words, address and the providers' answers were erased; null: they are there. An erased message is never sent.
alter table notifications add column erased_at timestamptz;

-- The jobs that carry a person's data, by whom they are about. No claim changes what this index looks at.
create index tasks_about on tasks ((payload ->> 'customer_id')) where kind in ('sync_customer', 'sync_vehicle', 'dispatch_event');

create index journal_customer on journal (customer_id, at);
