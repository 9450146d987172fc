-- The coordinator gives tasks that never ran their outcome: skipped or cancelled.
-- KEYS    meta results claims progress
-- ARGV    epoch, then task and packed TaskResult in turn
-- Returns {code, indices (from 0) of the tasks that were left alone}; OK, STALE_EPOCH or GONE
-- Events  none: the caller is the one who would read them
local meta, results, claims, progress = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch = ARGV[1]
if not run_exists() then return {CODE.GONE, {}} end
if redis.call('HGET', meta, 'epoch') ~= epoch then return {CODE.STALE_EPOCH, {}} end
write_though_full()
local left = {}
for i = 2, #ARGV, 2 do
  local task, packed = ARGV[i], ARGV[i + 1]
  local known = redis.call('HGET', results, task)
  -- A worker holds it, or its outcome stands: what is done is done. Our own outcome, from a call
  -- whose reply was lost, counts as set.
  if known ~= packed and (known or redis.call('HEXISTS', claims, task) == 1) then
    left[#left + 1] = (i - 2) / 2
  elseif not known then
    redis.call('HSET', results, task, packed)
    redis.call('HDEL', progress, task)
    count(status_of(packed), 1)
  end
end
return {CODE.OK, left}
