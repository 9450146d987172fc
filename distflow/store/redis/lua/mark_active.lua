-- Add a run to those that somebody should lead.
-- KEYS    active
-- ARGV    run id
-- Returns OK
-- Events  none
local active = KEYS[1]
local run_id = ARGV[1]
-- Like write_though_full, for a key that is a set.
redis.call('SREM', active, '')
redis.call('SADD', active, run_id)
return CODE.OK
