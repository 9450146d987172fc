-- The coordinator ends a claim whose worker is lost.
-- KEYS    meta results claims progress beats events history
-- ARGV    epoch, request (msgpack map: fields of Finish but packed, and batch), packed TaskResult
-- Returns RECORDED, REFUSED (the claim has moved on), STALE_EPOCH or GONE
-- Events  finished or waiting
local meta, results, claims, progress = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local events, history = KEYS[6], KEYS[7]
local epoch, request, packed = ARGV[1], ARGV[2], ARGV[3]
if not run_exists() then return CODE.GONE end
-- A coordinator that slept must not judge what its successor watches.
if redis.call('HGET', meta, 'epoch') ~= epoch then return CODE.STALE_EPOCH end
local lost = cmsgpack.unpack(request)
local claim = read_claim(claims, lost.task)
-- The worker was alive after all, and told its outcome first.
if not claim or claim[3] ~= lost.token then return CODE.REFUSED end
redis.call('HDEL', claims, lost.task)
if lost.kind == 'final' then
  remember(history, {kind = 'lost', task = lost.task, status = lost.status,
    attempt = lost.attempt, by = lost.worker, packed = packed, keep = lost.keep})
  settle_final(results, progress, events, lost, packed)
else
  settle_waiting(progress, events, history, lost, packed, 'lost')
  -- The next attempt is another's: an outcome that this worker still brings is refused.
  local next_try = read_progress(progress, lost.task)
  next_try.token = ''
  redis.call('HSET', progress, lost.task, cmsgpack.pack(next_try))
end
return CODE.RECORDED
