-- Put outcomes from a snapshot into a run that is being created.
-- KEYS    meta results progress troubles traits
-- ARGV    operation, then task, packed TaskResult and packed Progress in turn; an empty
--         TaskResult or Progress is none
-- Returns OK, WRONG_STATE or GONE
-- Events  none
local results, progress, troubles, traits = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local operation = ARGV[1]
local refused = making_refusal(operation)
if refused then return refused end
for i = 2, #ARGV, 3 do
  local task, packed, resume_at = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  -- HSETNX: a chunk that is sent again counts nothing twice.
  if packed ~= '' and redis.call('HSETNX', results, task, packed) == 1 then
    local status = status_of(packed)
    count(status, 1)
    if TROUBLES[status] then note_trouble(troubles, traits, task, status) end
  end
  if resume_at ~= '' then redis.call('HSET', progress, task, resume_at) end
end
return CODE.OK
