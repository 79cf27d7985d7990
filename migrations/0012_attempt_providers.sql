-- Which of the channel's accounts was tried: `env`, or the name of a provider account. Null in attempts of older versions.
alter table attempts add column provider text;
