-- A worker notes, for people, what RQ does not know about it.
-- KEYS    workers
-- ARGV    name of the worker, msgpack map of what it notes, for how long a note stays in ms
-- Returns OK
-- Events  none
local workers = KEYS[1]
local name, note, stays_ms = ARGV[1], cmsgpack.unpack(ARGV[2]), tonumber(ARGV[3])
-- It deletes first, so that a full Redis accepts it.
write_though_full()
local now = now_ms('0')
local found = redis.call('HGETALL', workers)
for i = 1, #found, 2 do
  local at = cmsgpack.unpack(found[i + 1]).at
  -- A note from the future dates from before Redis's clock was set back.
  if at < now - stays_ms or at > now + stays_ms then redis.call('HDEL', workers, found[i]) end
end
note.at = now
redis.call('HSET', workers, name, cmsgpack.pack(note))
redis.call('PEXPIRE', workers, stays_ms)
return CODE.OK
