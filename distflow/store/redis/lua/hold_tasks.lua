-- Publish which tasks are held by frozen workers, for readers of the run.
-- KEYS    meta
-- ARGV    epoch, msgpack list of [task, worker, since in ms]; empty for none
-- Returns OK, STALE_EPOCH or GONE
-- Events  none: the caller is the one who would read it
local meta = KEYS[1]
local epoch, held = ARGV[1], ARGV[2]
local refused = refusal(epoch)
if refused then return refused end
write_though_full()
if held == '' then
  redis.call('HDEL', meta, 'held')
else
  redis.call('HSET', meta, 'held', held)
end
return CODE.OK
