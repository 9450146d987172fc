-- Figures that a coordinator compares with what it knows: cheap, whatever the size of the run.
-- KEYS    meta results claims events expansions
-- ARGV    none
-- Returns {number of outcomes, number of claims, id of the newest event, status of the run, how many
--         of the outcomes are unknown, number of expansions}; the status is empty if there is no such
--         run
-- Events  none
local meta, results, claims, events, expansions = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local newest = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
return {redis.call('HLEN', results), redis.call('HLEN', claims), newest and newest[1] or '0-0',
  redis.call('HGET', meta, 'status') or '', tonumber(redis.call('HGET', meta, 'n_unknown') or '0'),
  redis.call('HLEN', expansions)}
