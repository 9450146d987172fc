-- A person or a verify hook decides an unknown task, or a hook says that it cannot tell.
-- KEYS    meta results progress events history troubles traits
-- ARGV    operation, task, decision (done, fail, retry or undecided), packed TaskResult (empty for
--         retry and undecided), who, note, and the packed unknown outcome that a hook was asked
--         about (empty for a person)
-- Returns {code, status of the task or empty}; OK, WRONG_STATE where it is not unknown or not as
--         it was when the hook was asked, TOO_NEW or GONE
-- Events  resolved
local meta, results, progress, events, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local troubles, traits = KEYS[6], KEYS[7]
local operation, task, decision = ARGV[1], ARGV[2], ARGV[3]
local packed, who, note, asked = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
if not run_exists() then return {CODE.GONE, ''} end
-- More may follow from a decision there than is known here.
if is_too_new() then return {CODE.TOO_NEW, ''} end
write_though_full()
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
-- A slow hook was asked about an earlier attempt: of this one it knows nothing.
if asked ~= '' and asked ~= known then return {CODE.WRONG_STATE, 'unknown'} end
redis.call('HSET', META, memory, operation)
local kind = decision == 'undecided' and 'asked' or 'resolved'
remember(history, {kind = kind, task = task, status = decision, by = who, note = note,
  packed = known, keep = true})
local status = 'unknown'
if decision == 'retry' then
  -- An unknown outcome that came from a snapshot may have no progress here.
  local attempt = last.attempt or 1
  local next_try = {attempt = attempt, iteration = 1, base = attempt - 1, lost = 0,
    not_before = 0, token = operation, started = false}
  -- A hook's decision gives no new budget: a task that kills its workers must end.
  if asked ~= '' then
    next_try.base = last.base or 0
    next_try.lost = (last.lost or 0) + 1
  end
  status = 'ready'
  redis.call('HDEL', results, task)
  redis.call('HSET', progress, task, cmsgpack.pack(next_try))
elseif decision ~= 'undecided' then
  status = status_of(packed)
  redis.call('HSET', results, task, packed)
  redis.call('HDEL', progress, task)
end
tell('resolved', task, status, 0, '', who, 0, 0, {}, note)
publish(events)
if status ~= 'unknown' then
  count('unknown', -1)
  note_trouble(troubles, traits, task, status)
  if status ~= 'ready' then count(status, 1) end
  unblock()
end
return {CODE.OK, status}
