-- When people do not want to be disturbed. Both ends are local times `HH:MM`, or both are null; a span may cross midnight.

alter table customers add column quiet_from text;
alter table customers add column quiet_until text;
-- IANA name; null: the workshop's, or else TIME_ZONE.
alter table customers add column time_zone text;
