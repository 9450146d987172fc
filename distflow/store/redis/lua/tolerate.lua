-- The coordinator has judged failures as tolerated, since their node may have so many: they are
-- counted as such where the troubles of the run are read.
-- KEYS    meta troubles
-- ARGV    epoch, then the tasks
-- Returns OK, STALE_EPOCH or GONE
-- Events  none: the caller is the one who would read it
local troubles = KEYS[2]
local epoch = ARGV[1]
local refused = refusal(epoch)
if refused then return refused end
write_though_full()
for i = 2, #ARGV do
  local kind = redis.call('ZSCORE', troubles, ARGV[i])
  -- It may have been decided since, or evaluated again.
  if kind and tonumber(kind) == TROUBLES.failure then
    redis.call('ZADD', troubles, TOLERATED, ARGV[i])
  end
end
return CODE.OK
