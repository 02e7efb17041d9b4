-- Put before every script. The keys of a shipment follow from merchant and reference, whose letters (no colon) were
-- checked before they came here, so scripts build them; one primary holds them all (no Redis Cluster).
local P = KEYS[1]
local MERCHANTS = P .. 'merchants'

-- A merchant's window: the most of its shipments at work at once. It begins small, so that an API that hangs holds
-- little, and grows with every good answer.
local FIRST_WINDOW, MOST_WINDOW = 200, 2000

local function record(m, r) return P .. 'shipment:' .. m .. ':' .. r end
local function waiting(m) return P .. 'waiting:' .. m end
local function working(m) return P .. 'working:' .. m end
local function tokens(m) return P .. 'tokens:' .. m end

-- Milliseconds, by the server's clock: a process whose own clock is wrong changes nothing here. And the place at the
-- end of the line of merchants, which goes by microseconds, so that nobody is served twice before somebody else only
-- because of his name; a millisecond back, so that it is not in the future.
local function clock()
  local t = redis.call('TIME')
  local now = t[1] * 1000
  return now + math.floor(t[2] / 1000), now + t[2] / 1000 - 1
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
local function gather(command, key, ...)
  local name = command .. ' ' .. key
  local one = gathered[name] or { command, key, {} }
  gathered[name] = one
  for _, argument in ipairs({ ... }) do one[3][#one[3] + 1] = argument end
end

-- Lua unpacks only so many at a time.
local function write_gathered()
  for _, one in pairs(gathered) do
    for i = 1, #one[3], 1000 do redis.call(one[1], one[2], unpack(one[3], i, math.min(i + 999, #one[3]))) end
  end
end

-- A token is 'phase:id': q = handed out, in a message; r = taken by a task; c = a call may be on its way.
local function holds(m, r, id)
  local token = redis.call('HGET', tokens(m), r)
  return token and string.sub(token, 3) == id
end
