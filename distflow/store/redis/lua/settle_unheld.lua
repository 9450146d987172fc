-- The coordinator settles tasks that nobody holds: skipped, cancelled, or failed because no worker
-- can run them; and forgets refusals that no longer matter.
-- KEYS    meta results claims progress troubles traits refusals
-- ARGV    epoch, msgpack list of refusals to be forgotten, each [scope, worker, birth], msgpack list
--         of the tasks whose failure is tolerated; then task and packed TaskResult in turn
-- Returns {code, indices (from 0) of the tasks that were left alone}; OK, STALE_EPOCH or GONE
-- Events  none: the caller is the one who would read them
local results, claims, progress = KEYS[2], KEYS[3], KEYS[4]
local troubles, traits, refusals = KEYS[5], KEYS[6], KEYS[7]
local epoch, forgotten, tolerated = ARGV[1], cmsgpack.unpack(ARGV[2]), {}
for _, task in ipairs(cmsgpack.unpack(ARGV[3])) do tolerated[task] = true end
local refused = refusal(epoch)
if refused then return {refused, {}} end
write_though_full()
local left = {}
for i = 4, #ARGV, 2 do
  local task, packed = ARGV[i], ARGV[i + 1]
  local known = redis.call('HGET', results, task)
  -- A worker holds it, or it has an outcome, which stands. Our own outcome, from a call whose reply
  -- was lost, counts as set.
  if known ~= packed and (known or redis.call('HEXISTS', claims, task) == 1) then
    left[#left + 1] = (i - 4) / 2
  elseif not known then
    local status = status_of(packed)
    redis.call('HSET', results, task, packed)
    redis.call('HDEL', progress, task)
    count(status, 1)
    if TROUBLES[status] then
      note_trouble(troubles, traits, task, status, {tolerated = tolerated[task]})
    end
  end
end
for _, key in ipairs(forgotten) do redis.call('HDEL', refusals, cmsgpack.pack(key)) end
return {CODE.OK, left}
