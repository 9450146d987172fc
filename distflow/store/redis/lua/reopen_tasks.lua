-- Set outcomes aside, so that their tasks are evaluated again. The caller sends dependents before
-- their dependencies: so at any moment, every outcome that is left still has those of its
-- dependencies.
-- KEYS    meta results claims progress history troubles
-- ARGV    epoch, then task, the status that the caller saw (empty: no outcome), packed Progress
--         and keep (1 or 0) in turn
-- Returns OK, STALE_EPOCH, WRONG_STATE or GONE
-- Events  none: the coordinator attaches afterwards
local meta, results, claims, progress, history = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local troubles = KEYS[6]
local epoch = ARGV[1]
local refused = refusal(epoch)
if refused then return refused end
if redis.call('HGET', meta, 'status') ~= 'reopening' then return CODE.WRONG_STATE end
for i = 2, #ARGV, 4 do
  local task, seen, next_try, keep = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local known = redis.call('HGET', results, task)
  local status = known and status_of(known) or ''
  -- An outcome that a live worker recorded since the caller looked belongs to this generation, and
  -- may be the failure of a task that must not start again: it stays.
  local unseen = status ~= seen
  if unseen or (known and not POLICY.REOPENED[status]) then
    next_try = nil
  elseif known then
    remember(history, {kind = 'set_aside', task = task, status = status, packed = known,
      keep = keep == '1'})
    redis.call('HDEL', results, task)
    redis.call('ZREM', troubles, task)
    count(status, -1)
  elseif redis.call('HEXISTS', claims, task) == 1 then
    next_try = nil
  end
  if next_try then redis.call('HSET', progress, task, next_try) end
end
return CODE.OK
