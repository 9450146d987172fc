-- A person decides on tasks, all or none; a verify hook decides an unknown task, or says that it
-- cannot tell. The caller has worked out the decision and what follows from it. Nothing is written
-- if anything is not as the caller saw it.
-- KEYS    meta results claims progress events history troubles traits lease
-- ARGV    operation, decision (done, fail, retry or undecided), who, note, how many tasks were skipped
--         when the caller looked (empty: whatever); then per task: its name, the packed outcome that
--         the caller saw (-: none, since an earlier decision lets it run again), the packed outcome
--         that follows (empty: none), the packed Progress by which it runs again (empty: it does
--         not), what becomes of whoever leads the run (stays; looks_again: its epoch is void; absent:
--         the same, and nobody may lead it), the number of dependents and of each its name, the
--         status of its outcome (empty: none) and its tries, the number of tasks that were skipped
--         because of it and their names
-- Returns {OK, status of each task}; {LOOK_AGAIN, '', '', ''}: other tasks are skipped than the caller
--         saw; or {code, task, its status or who leads, a dependent or empty}: WRONG_STATE where
--         something is not as the caller saw it, HELD, TOO_NEW or GONE
-- Events  resolved
local results, claims, progress, events = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local history, troubles, traits, lease = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local operation, decision, who, note, skips = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
-- A decision on a newer run may have consequences unknown here.
local refused = refusal(nil, true)
if refused then return {refused, '', '', ''} end
write_though_full()

local next_argument = 6
local function take()
  next_argument = next_argument + 1
  return ARGV[next_argument - 1]
end

local function take_item()
  local item = {task = take(), seen = take(), packed = take(), next_try = take(), leader = take(),
    dependents = {}, skipped = {}}
  for i = 1, tonumber(take()) do
    item.dependents[i] = {take(), take(), take()}
  end
  for i = 1, tonumber(take()) do
    item.skipped[i] = take()
  end
  item.memory = 'resolved:' .. item.task
  item.known = redis.call('HGET', results, item.task)
  item.last = read_progress(progress, item.task)
  return item
end

local function status_in(packed)
  return packed and status_of(packed) or ''
end

local function tries_of(task)
  local known = read_progress(progress, task)
  return text(known.attempt or 1) .. ':' .. text(known.iteration or 1) .. ':' .. text(known.lost or 0)
end

-- Whether something is not as the caller saw it: the task was decided already, or its worker
-- recorded the true outcome in the meantime; or a slow hook was asked about an earlier attempt, and
-- knows nothing about this one.
local function is_overtaken(item)
  if item.seen ~= '-' then return item.seen ~= item.known end
  -- A claimed task counts as begun.
  local decided = redis.call('HGET', META, item.memory)
  return item.known or not decided or item.last.token ~= decided
    or redis.call('HEXISTS', claims, item.task) == 1
end

-- The first dependent that has begun since the caller looked: its dependency must not change.
local function find_begun(item)
  for _, dependent in ipairs(item.dependents) do
    local task, status, tries = dependent[1], dependent[2], dependent[3]
    if redis.call('HEXISTS', claims, task) == 1 or tries_of(task) ~= tries
      or status_in(redis.call('HGET', results, task)) ~= status then
      return task
    end
  end
end

-- Let skipped tasks be evaluated again. They never ran, so nothing about them is evidence.
local function set_aside(tasks)
  for i = 1, #tasks, 1000 do
    local some = {unpack(tasks, i, math.min(i + 999, #tasks))}
    local gone = {}
    for number, packed in ipairs(redis.call('HMGET', results, unpack(some))) do
      if status_in(packed) == 'skipped' then gone[#gone + 1] = some[number] end
    end
    if #gone > 0 then
      redis.call('HDEL', results, unpack(gone))
      count('skipped', -#gone)
    end
  end
end

-- Write the result of a decision: an outcome, or another try.
local function move(item)
  local before, after = status_in(item.known), status_in(item.packed ~= '' and item.packed)
  if after ~= '' then
    redis.call('HSET', results, item.task, item.packed)
    redis.call('HDEL', progress, item.task)
    count(after, 1)
  else
    redis.call('HDEL', results, item.task)
    redis.call('HSET', progress, item.task, item.next_try)
  end
  if before ~= '' then count(before, -1) end
  note_trouble(troubles, traits, item.task, after)
  set_aside(item.skipped)
  if item.leader ~= 'stays' then
    redis.call('HINCRBY', META, 'epoch', 1)
    redis.call('DEL', lease)
  end
  unblock()
  return after ~= '' and after or 'ready'
end

local function decide(item)
  local decides = item.packed ~= '' or item.next_try ~= ''
  redis.call('HSET', META, item.memory, operation)
  remember(history, {kind = decides and 'resolved' or 'asked', task = item.task, status = decision,
    by = who, note = note, packed = item.known, keep = true})
  local status = decides and move(item) or status_in(item.known)
  tell('resolved', item.task, status, 0, '', who, 0, 0, {}, note)
  return status
end

local items, answer, repeated = {}, {CODE.OK}, false
while next_argument <= #ARGV do
  local item = take_item()
  items[#items + 1] = item
  answer[#answer + 1] = item.known and status_of(item.known) or 'ready'
  -- The reply to this decision was lost, and much may have happened since.
  if redis.call('HGET', META, item.memory) == operation then repeated = true end
  item.stands = item.known and item.known == item.packed
    or not item.known and item.last.token == operation
end
if repeated then return answer end
-- A skip from in between would remain behind the task that is decided now.
if skips ~= '' and skips ~= (redis.call('HGET', META, 'n_skipped') or '0') then
  return {CODE.LOOK_AGAIN, '', '', ''}
end
for _, item in ipairs(items) do
  if not item.stands then
    if is_overtaken(item) then
      return {CODE.WRONG_STATE, item.task, status_in(item.known), ''}
    end
    local begun = find_begun(item)
    if begun then return {CODE.WRONG_STATE, item.task, status_in(item.known), begun} end
    local leader = item.leader == 'absent' and redis.call('GET', lease)
    if leader then return {CODE.HELD, item.task, string.match(leader, ' (.*)'), ''} end
  end
end
for number, item in ipairs(items) do
  if not item.stands then answer[number + 1] = decide(item) end
end
publish(events)
return answer
