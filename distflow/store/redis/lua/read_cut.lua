-- Everything that is known about some tasks, at one instant.
-- KEYS    meta results claims progress saved
-- ARGV    tasks, however many
-- Returns their outcomes, claims, progress and notes: four lists, with nil where there is none
-- Events  none
local tasks, keys = ARGV, KEYS
-- The number of values per call of Lua's unpack.
local MOST = 1000

local function read(key)
  local found = {}
  for first = 1, #tasks, MOST do
    local last = math.min(first + MOST - 1, #tasks)
    for _, value in ipairs(redis.call('HMGET', key, unpack(tasks, first, last))) do
      found[#found + 1] = value
    end
  end
  return found
end

return {read(keys[2]), read(keys[3]), read(keys[4]), read(keys[5])}
