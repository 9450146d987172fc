-- Report something that was found wrong and put right: an event, a history entry and a counter.
-- KEYS    meta events history refusals
-- ARGV    epoch, operation, kind of the repair, batch (may be empty), worker (may be empty), note,
--         msgpack list of the WorkerFacts of one that could not read a job and of what is kept of
--         that (fields of Refused, the token left out); empty for none
-- Returns OK, STALE_EPOCH or GONE
-- Events  repaired
local meta, events, history, refusals = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, operation, kind = ARGV[1], ARGV[2], ARGV[3]
local batch, worker, note, unread = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
-- A coordinator that slept may report losses that its successor has long repaired.
local refused = refusal(epoch)
if refused then return refused end
-- The reply to this call was lost: a coordinator reports its repairs one after another.
if redis.call('HGET', meta, 'repair_operation') == operation then return CODE.OK end
write_though_full()
redis.call('HSET', meta, 'repair_operation', operation)
redis.call('HINCRBY', meta, 'repaired_' .. kind, 1)
remember(history, {kind = 'repaired', status = kind, by = worker, note = note})
if unread ~= '' then
  local by, what = unpack(cmsgpack.unpack(unread))
  keep_refusal(refusals, history, by, what)
end
tell('repaired', '', kind, 0, batch, worker, 0, 0, {}, note)
publish(events)
return CODE.OK
