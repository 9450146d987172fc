-- The coordinator gives a batch up: its worker is lost, and no claim of it is left.
-- KEYS    meta beats
-- ARGV    epoch, batch
-- Returns OK, STALE_EPOCH or GONE
-- Events  none: the caller is the one who would read it
local meta, beats = KEYS[1], KEYS[2]
local epoch, batch = ARGV[1], ARGV[2]
if not run_exists() then return CODE.GONE end
if redis.call('HGET', meta, 'epoch') ~= epoch then return CODE.STALE_EPOCH end
redis.call('HDEL', beats, batch)
return CODE.OK
