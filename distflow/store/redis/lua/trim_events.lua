-- Drop the events that the coordinator has applied.
-- KEYS    meta events
-- ARGV    epoch, first id to keep
-- Returns OK, STALE_EPOCH or GONE
-- Events  none
local events = KEYS[2]
local epoch, first = ARGV[1], ARGV[2]
-- A coordinator that slept would remove events that its successor has not read.
local refused = refusal(epoch)
if refused then return refused end
redis.call('XTRIM', events, 'MINID', first)
return CODE.OK
