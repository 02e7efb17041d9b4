-- Put before every script. The keys of a shipment follow from merchant and reference, whose letters (no colon) were
-- checked before they came here, so scripts build them; one primary holds them all (no Redis Cluster).
local P = KEYS[1]

-- What `worker/ledger/format.py` says too.
local FORMAT = 1
local MERCHANTS = P .. 'merchants'

-- A merchant's window: the most of its shipments at work at once. It begins small, so that an API that hangs holds
-- little, and grows with every good answer.
local FIRST_WINDOW, MOST_WINDOW = 200, 2000

local function record(m, r) return P .. 'shipment:' .. m .. ':' .. r end
local function waiting(m) return P .. 'waiting:' .. m end
local function working(m) return P .. 'working:' .. m end
local function tokens(m) return P .. 'tokens:' .. m end
local function on_wire(m) return P .. 'on_wire:' .. m end

-- Until when nobody calls, in ms: a merchant (m:) after a 429 and (u:) after a 503 that said how long, an API (b:) and
-- a host (h:) whose breaker is open. One hash, so that one command reads what concerns a call.
local NOT_BEFORE = P .. 'not_before'
local function host_of(api) return string.match(api, '^(.*)#') or api end
local function probe_key(name) return P .. 'probe:' .. name end

-- Milliseconds, by the server's clock: a process whose own clock is wrong changes nothing here. And the place at the
-- end of the line of merchants, which goes by microseconds, so that nobody is served twice before somebody else only
-- because of its name; a millisecond back, so that it is not in the future.
local function clock()
  local t = redis.call('TIME')
  local now = t[1] * 1000
  return now + math.floor(t[2] / 1000), now + t[2] / 1000 - 1
end

-- Changes of the server: another one took its place (a restart, a failover), or its clock jumped. Such a server may
-- have forgotten the last second before, or never have known it: a call that nobody remembers may have gone out. They
-- are counted, and a lease and a record say after how many of them they were made, as clocks before and after a change
-- may differ. `changed`: when the latest one was noted, in ms. `before`: until when something was due by then, by the
-- clock of that time.
local SERVER = P .. 'server'
local OTHER_CLOCK_MS = 1000

-- As far as it is noted; a change that is not yet looks like none, and what is written meanwhile like what was before.
local function changes_noted() return tonumber(redis.call('HGET', SERVER, 'changes')) or 0 end

local function note_change(now, changes, before)
  redis.call('HSET', SERVER, 'changes', changes, 'changed', now, 'before', before)
  return changes, now, before
end

-- Looks for a change first, as far as this user may. Returns how many there were, `changed` and `before`.
local function server_changes(now)
  local info = redis.pcall('INFO', 'server')
  local known = redis.call('HMGET', SERVER, 'run_id', 'changes', 'changed', 'before')
  local changes = tonumber(known[2]) or 0
  local server = known[1]
  if type(info) == 'string' then
    local at = string.find(info, 'run_id:', 1, true)
    server = string.match(info, '^run_id:(%w+)', at)
  end
  if known[1] == server then return changes, tonumber(known[3]) or 0, tonumber(known[4]) or 0 end
  redis.call('HSET', SERVER, 'run_id', server)
  if not known[1] then return changes, 0, 0 end
  return note_change(now, changes + 1, now + OTHER_CLOCK_MS)
end

-- Fails when the key is something else. Lua does not roll back: what could fail later is tried before the first write.
local function check_stream(key) redis.call('XLEN', key) end

-- The score of the first entry, or nil.
local function head(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end

-- Let a merchant be looked at no later than `at`.
local function wake(m, at)
  redis.call('ZADD', MERCHANTS, 'LT', at, m)
end

-- What one key is to be told of many shipments, gathered key by key and written at the end of a script: a command costs
-- more than its arguments. Whatever reads such a key within the script reads it as it was before.
local gathered = {}
local function gather(command, key, argument, another)
  local name = command .. key
  local one = gathered[name]
  if not one then
    one = { command, key, {} }
    gathered[name] = one
  end
  local arguments = one[3]
  local n = #arguments
  arguments[n + 1], arguments[n + 2] = argument, another
end

-- Lua unpacks only so many at a time.
local function write_gathered()
  for _, one in pairs(gathered) do
    for i = 1, #one[3], 1000 do redis.call(one[1], one[2], unpack(one[3], i, math.min(i + 999, #one[3]))) end
  end
end
