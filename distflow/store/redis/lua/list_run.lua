-- Add a run to the list of all runs, by its creation time; a listed one keeps its place.
-- KEYS    runs
-- ARGV    run id
-- Returns OK
-- Events  none
local runs = KEYS[1]
local run_id = ARGV[1]
local newest = redis.call('ZRANGE', runs, -1, -1, 'WITHSCORES')
-- Keep the order of creation, even among runs of the same millisecond.
local at = math.max(now_ms('0') / 1000, (tonumber(newest[2]) or 0) + 0.000001)
redis.call('ZADD', runs, 'NX', string.format('%.6f', at), run_id)
return CODE.OK
