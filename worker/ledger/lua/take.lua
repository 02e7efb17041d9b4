-- Takes what is due, merchant by merchant in turn, for one worker child: the lease begins, and where nothing stands
-- against it the first call is permitted as well. A merchant's score is when to look at it next and, once that has
-- come, its place in the line: whoever is served goes to the end. Leases that ran out come back here.
--
-- KEYS: prefix
-- ARGV: child, id of the lease, lease in ms, most shipments of a merchant, most shipments in all, the furthest that a
--       due time can honestly lie ahead in ms (beyond it a clock has jumped, and the entry is due), the longest call in
--       ms, most shipments that have a child of their own at a time, for how many ms after a change of the server an
--       order may be one that was sent again, names of the strategies whose first request is a call for an allocation
--       (',name,name,'), 1 if the child owns nothing, 1 if it begins to serve, the least room with which it goes on
--       listening, 1 to be told once more what this id has taken, and merchant and reference of the shipment for which
--       the child was emptied, or '' twice
-- Returns the server's time in ms, the number of its changes, in how many ms more is due (0: now, -1: nothing waits),
-- what the caller must send as a message that starts another child (see _wake.lua) or nothing, merchant and reference
-- of a shipment for which the child is to be emptied or '', the names of those nobody may call at present, and per
-- merchant: name, lease token, pause as JSON or '', shipments (see _taken.lua).
local now, place = clock()
local child, id, lease, most, left = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local far, longest, most_alone = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local again, calls_at_once, owns_nothing = tonumber(ARGV[9]), ARGV[10], ARGV[11] == '1'
local begins, least_room, is_retry = ARGV[12] == '1', tonumber(ARGV[13]), ARGV[14] == '1'
-- A child needs no longer until it owns nothing, and takes the shipment for which it does that.
local EMPTIES_MS = 60000
-- How long it takes at the most until a child that serves takes again.
local LISTENS_MS = 2000
-- Merchants that are looked at in one script, some at a time.
local AT_A_LOOK, MOST_LOOKS = 16, 7
-- In one look of so many, and in a child's first, due times and leases are looked for that lie too far ahead.
local FAR_EVERY = 16
local looks_far = begins or now % FAR_EVERY == 0
-- With more of them nobody can be told whom they concern.
local MOST_NOT_BEFORE = 50
local last = P .. 'taken:' .. child
local changes, changed, before = server_changes(now)
local out, wanted, lone, expired = {}, { '', '' }, false, nil
local stopped, is_stopped = redis.call('HKEYS', NOT_BEFORE), {}
for _, name in ipairs(stopped) do is_stopped[name] = true end
local admits = #stopped <= MOST_NOT_BEFORE
if not admits then stopped = {} end
local some_are_paused = redis.call('EXISTS', P .. 'paused') == 1

-- Leases that ran out, and now and then times that no clock can have meant. Returns how many shipments are at work, and
-- when the first lease ends.
local function bring_back(m)
  if looks_far then bring_near(m, now, far, most) end
  local lease_end = head(working(m))
  if not lease_end then return 0 end
  if looks_far or lease_end <= now or lease_end > now + far then
    expired = expired or expiry(now, lease, longest)
    for _, r in ipairs(some(working(m), '-inf', now, most)) do expired.ran_out(m, r) end
    for _, r in ipairs(some(working(m), now + far, '+inf', most)) do expired.ran_out(m, r) end
    lease_end = head(working(m))
  end
  return redis.call('ZCARD', working(m)), lease_end
end

local function give(m, refs, records, token_id, free_to_call)
  local scores, marks, rows, pause = {}, {}, {}, some_are_paused and redis.call('HGET', P .. 'paused', m) or ''
  local is_free = admits and free_to_call and pause == '' and not is_stopped['m:' .. m] and not is_stopped['u:' .. m]
  for i, r in ipairs(refs) do
    local known = records[i]
    local doubt = in_doubt_since(known, changes, changed, before, again)
    local admitted = is_free and calls_first(known, doubt, calls_at_once)
    scores[2 * i - 1], scores[2 * i] = now + lease, r
    marks[2 * i - 1] = r
    marks[2 * i] = (admitted and 'c:' or 'r:') .. token_id .. ':' .. changes .. (admitted and ':' .. now or '')
    rows[i] = told(r, known, doubt, admitted)
  end
  redis.call('ZADD', working(m), unpack(scores))
  redis.call('HSET', tokens(m), unpack(marks))
  redis.call('ZREM', waiting(m), unpack(refs))
  left = left - #refs
  out[#out + 1] = { m, token_id, pause, rows }
end

-- A child that owns something takes no shipment that must be alone: it is asked to get rid of the rest first.
local function give_alone(m, r, known)
  redis.call('ZADD', ALONE, now + math.max(lease, EMPTIES_MS), m .. ':' .. r)
  if owns_nothing and #out == 0 then
    lone = true
    give(m, { r }, { known }, id .. '.a', false)
  else
    -- Nothing more, so that it is empty soon.
    wanted, left = { m, r }, 0
  end
end

-- Whether a shipment that must be alone may be so now, beside how many others are.
local function may_go_alone(m, r)
  if wanted[1] ~= '' or redis.call('ZSCORE', ALONE, m .. ':' .. r) then return false end
  redis.call('ZREMRANGEBYSCORE', ALONE, '-inf', now)
  return redis.call('ZCARD', ALONE) < most_alone
end

-- Some of one merchant's at a look, so that others have their turn. Who has waited longest is served first, alone or not.
-- Returns how many were given, and how much room there is left.
local function serve(m, at_work)
  local free, has_limits = room(m, at_work, now)
  local count = math.min(free, most, left)
  if count <= 0 then return 0, free end
  local refs, records = {}, {}
  for i, r in ipairs(some(waiting(m), '-inf', now, count)) do
    local known = read_record(m, r)
    if (tonumber(known[LOST_AT]) or 0) > 0 then
      expired = expired or expiry(now, lease, longest)
      known[LOST] = expired.judge_loss(m, r, known)
    end
    if not must_be_alone(known[COMPANY_LOST], known[LOST]) then
      refs[#refs + 1], records[#records + 1] = r, known
    elseif i == 1 and may_go_alone(m, r) then
      give_alone(m, r, known)
      if lone then return 1, free - 1 end
    end
  end
  if #refs > 0 then give(m, refs, records, id, not has_limits) end
  return #refs, free - #refs
end

-- When to look again: at once if something is due and there is room, behind all others who are in the line; else at
-- the next due time or the end of a lease.
local function next_look(m, free, lease_end)
  local due = head(waiting(m))
  if due and due > now + far then
    bring_near(m, now, far, most)
    due = now
  end
  if due and due <= now then
    place = place + 0.001
    if free > 0 then return place end
    -- No room: whoever reports for this merchant wakes it; a rate frees room by time alone.
    return math.min(lease_end or now + 500, now + 500)
  end
  return due and lease_end and math.min(due, lease_end) or due or lease_end
end

local function look_at(m)
  local at_work, lease_end = bring_back(m)
  local given, free = serve(m, at_work)
  if given > 0 then lease_end = math.min(lease_end or now + lease, now + lease) end
  local at = next_look(m, free, lease_end)
  if at then redis.call('ZADD', MERCHANTS, at, m) else redis.call('ZREM', MERCHANTS, m) end
end

local function look_at_all()
  for _ = 1, MOST_LOOKS do
    local names = some(MERCHANTS, '-inf', now, AT_A_LOOK)
    for _, m in ipairs(names) do
      if left <= 0 or lone then return end
      look_at(m)
    end
    if #names < AT_A_LOOK then return end
  end
end

-- The shipment for which the child was emptied, if it still waits.
local function take_alone(m, r)
  local due = tonumber(redis.call('ZSCORE', waiting(m), r))
  if due and due <= now and owns_nothing then
    give_alone(m, r, read_record(m, r))
  else
    redis.call('ZREM', ALONE, m .. ':' .. r)
  end
end

-- What this id took, for a caller whose answer was lost. The tokens say after how many changes of the server they were
-- taken, now; that a call may be on its way stays.
local function tell_again(said)
  for _, one in ipairs(said.taken) do
    local m, token_id, rows = one[1], one[2], {}
    for _, r in ipairs(one[3]) do
      local token = redis.call('HGET', tokens(m), r)
      if lease_of(token, token_id) then
        local phase, _, _, called = parse(token)
        local since = called ~= '' and ':' .. called or ''
        redis.call('HSET', tokens(m), r, phase .. ':' .. token_id .. ':' .. changes .. since)
        lone = lone or is_alone(token_id)
        local known = read_record(m, r)
        rows[#rows + 1] = told(r, known, in_doubt_since(known, changes, changed, before, again), false)
      end
    end
    out[#out + 1] = { m, token_id, redis.call('HGET', P .. 'paused', m) or '', rows }
  end
end

local function remember()
  local taken = {}
  for i, one in ipairs(out) do
    local refs = {}
    for j, row in ipairs(one[4]) do refs[j] = row[1] end
    taken[i] = { one[1], one[2], refs }
  end
  redis.call('SET', last, cjson.encode({ id = id, taken = taken }), 'PX', lease)
end

local known = redis.call('GET', last)
local said = known and cjson.decode(known)
if begins then redis.call('DEL', STARTING) end
if looks_far then
  for _, m in ipairs(some(MERCHANTS, now + far, '+inf', 100)) do wake(m, place) end
end
if said and said.id == id then
  -- A first try that comes after its own retry takes nothing.
  if is_retry then tell_again(said) end
else
  if ARGV[15] ~= '' then take_alone(ARGV[15], ARGV[16]) else look_at_all() end
  if #out > 0 or is_retry then remember() end
end
local due = head(MERCHANTS)
local due_in, starts = due and math.max(0, math.ceil(due - now)) or -1, {}
if left >= least_room and not lone then
  redis.call('ZADD', SERVING, now + LISTENS_MS, child)
else
  redis.call('ZREM', SERVING, child)
  if due_in == 0 then starts = ring(now) end
end
return { now, changes, due_in, starts, wanted[1], wanted[2], stopped, out }
