-- A person or a verify hook decides an unknown task.
-- KEYS    meta results progress events history
-- ARGV    operation, task, decision (done, fail or retry), packed TaskResult (empty for retry),
--         who, note
-- Returns {code, status of the task or empty}; OK, WRONG_STATE where it is not unknown, GONE
-- Events  resolved
local meta, results, progress, events, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local operation, task, decision = ARGV[1], ARGV[2], ARGV[3]
local packed, who, note = ARGV[4], ARGV[5], ARGV[6]
if not run_exists() then return {CODE.GONE, ''} end
local known = redis.call('HGET', results, task)
local last = read_progress(progress, task)
-- The reply to this very decision was lost, and much may have happened since.
local memory = 'resolved:' .. task
if redis.call('HGET', META, memory) == operation then
  return {CODE.OK, known and status_of(known) or 'ready'}
end
if known and known == packed then return {CODE.OK, status_of(known)} end
if not known and last.token == operation then return {CODE.OK, 'ready'} end
-- Decided already, or its worker told the true outcome in the meantime.
if not known or status_of(known) ~= 'unknown' then
  return {CODE.WRONG_STATE, known and status_of(known) or ''}
end
redis.call('HSET', META, memory, operation)
remember(history, {kind = 'resolved', task = task, status = decision, by = who, note = note,
  packed = known, keep = true})
count('unknown', -1)
local status = 'ready'
if decision == 'retry' then
  -- An unknown outcome that came from a snapshot may have no progress here.
  local attempt = last.attempt or 1
  redis.call('HDEL', results, task)
  redis.call('HSET', progress, task, cmsgpack.pack({attempt = attempt, iteration = 1,
    base = attempt - 1, lost = 0, not_before = 0, token = operation, started = false}))
else
  status = status_of(packed)
  redis.call('HSET', results, task, packed)
  redis.call('HDEL', progress, task)
  count(status, 1)
end
redis.call('XADD', events, '*', 'kind', 'resolved', 'task', task, 'status', status)
unblock()
return {CODE.OK, status}
