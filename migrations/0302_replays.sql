-- Which deliveries of a message were sent again since: of each message only the last is replayed.
create index webhook_deliveries_replays on webhook_deliveries (message_id, id) where replay_of is not null;
