-- Drop the events that the coordinator has applied.
-- KEYS    meta events
-- ARGV    epoch, first id to keep
-- Returns OK, STALE_EPOCH or GONE
-- Events  none
local meta, events = KEYS[1], KEYS[2]
local epoch, first = ARGV[1], ARGV[2]
if not run_exists() then return CODE.GONE end
-- A coordinator that slept would take away what its successor has not read.
if redis.call('HGET', meta, 'epoch') ~= epoch then return CODE.STALE_EPOCH end
redis.call('XTRIM', events, 'MINID', first)
return CODE.OK
