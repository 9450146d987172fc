-- Tell of something that went wrong and was repaired: an event, a history entry and a counter.
-- KEYS    meta events history refusals
-- ARGV    epoch, operation, kind of the repair, batch (may be empty), worker (may be empty), note,
--         msgpack list of the WorkerFacts of one that could not read a job (may be empty)
-- Returns OK, STALE_EPOCH or GONE
-- Events  repaired
local meta, events, history, refusals = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, operation, kind = ARGV[1], ARGV[2], ARGV[3]
local batch, worker, note, by = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
if not run_exists() then return CODE.GONE end
local run = redis.call('HMGET', meta, 'epoch', 'repair_operation')
-- What a coordinator that slept takes for lost, its successor has long repaired.
if run[1] ~= epoch then return CODE.STALE_EPOCH end
-- The reply to this very call was lost: one coordinator tells its repairs one after another.
if run[2] == operation then return CODE.OK end
write_though_full()
redis.call('HSET', meta, 'repair_operation', operation)
redis.call('HINCRBY', meta, 'repaired_' .. kind, 1)
remember(history, {kind = 'repaired', status = kind, by = worker, note = note})
if by ~= '' then
  keep_refusal(refusals, history, cmsgpack.unpack(by), {'', '', 'its jobs', note, ''})
end
tell('repaired', '', kind, 0, batch, worker, 0, 0, {}, note)
publish(events)
return CODE.OK
