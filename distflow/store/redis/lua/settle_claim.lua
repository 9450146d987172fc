-- The coordinator settles a claim whose worker is lost.
-- KEYS    meta results claims progress beats events history troubles traits graph
-- ARGV    epoch, request (msgpack map: fields of Finish but packed, and batch), packed TaskResult
-- Returns RECORDED, REFUSED (the claim has moved on), STALE_EPOCH or GONE
-- Events  finished or waiting
local results, claims, progress = KEYS[2], KEYS[3], KEYS[4]
local events, history, troubles, traits, graph = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local epoch, request, packed = ARGV[1], ARGV[2], ARGV[3]
local refused = refusal(epoch)
if refused then return refused end
write_though_full()
local lost = cmsgpack.unpack(request)
local claim = read_claim(claims, lost.task)
-- Not the token itself: a late outcome of this worker is refused.
local given_up = 'lost:' .. lost.token
if not claim or claim[3] ~= lost.token then
  local known = redis.call('HGET', results, lost.task)
  -- The reply to this call was lost.
  if known == packed then return CODE.RECORDED end
  if not known and read_progress(progress, lost.task).token == given_up then
    return CODE.RECORDED
  end
  -- The worker was alive after all, and recorded its outcome first.
  return CODE.REFUSED
end
redis.call('HDEL', claims, lost.task)
if lost.grows then drop_chunks(graph, lost.token) end
if lost.kind ~= 'wait' then
  remember(history, {kind = 'lost', task = lost.task, status = lost.status,
    attempt = lost.attempt, by = lost.worker, packed = packed, keep = lost.keep})
  count(lost.status, 1)
  note_trouble(troubles, traits, lost.task, lost.status, lost)
  settle_final(results, progress, lost, packed)
else
  lost.token = given_up
  settle_waiting(progress, history, lost, packed, 'lost')
end
publish(events)
return CODE.RECORDED
