-- Finds entries of the orders stream that no intake was ever given: trimmed before they were read, or skipped by a group
-- that was created or moved behind them. Their number follows from the server's count of entries ever added (Redis 7) and
-- our counters of entries acknowledged and lost.
--
-- KEYS: prefix, orders stream
-- ARGV: GroupArgs
-- Returns how many more are missing than at the last look, and the ids that they lie between; nothing if none is missing
-- or the number is unknown.
-- Unread entries are counted by reading them, and may be large: with more of them, wait until they have been read.
local MAX_UNREAD = 16
local counters = P .. 'orders_counters:' .. KEYS[2]
local group_name = unpack(ARGV, 1, 1)

local function as_table(flat)
  local out = {}
  for i = 1, #flat, 2 do out[flat[i]] = flat[i + 1] end
  return out
end

local function is_after(one, other)
  local ms, seq = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  ms, seq, other_ms, other_seq = tonumber(ms), tonumber(seq), tonumber(other_ms), tonumber(other_seq)
  return ms > other_ms or (ms == other_ms and seq > other_seq)
end

if redis.call('EXISTS', KEYS[2]) == 0 then return {} end
local stream, group = as_table(redis.call('XINFO', 'STREAM', KEYS[2])), nil
for _, each in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  each = as_table(each)
  if each['name'] == group_name then group = each end
end
local added = stream['entries-added']
if not group or not added then return {} end

local delivered, first = group['last-delivered-id'], stream['first-entry'] and stream['first-entry'][1] or nil
local unread
if not first or not is_after(stream['last-generated-id'], delivered) then
  unread = 0
elseif is_after(first, delivered) then
  unread = stream['length']
else
  unread = #redis.call('XRANGE', KEYS[2], '(' .. delivered, '+', 'COUNT', MAX_UNREAD)
  if unread == MAX_UNREAD then return {} end
end

local known = redis.call('HMGET', counters, 'base', 'acknowledged', 'lost', 'delivered')
local base, acknowledged, lost = tonumber(known[1]), tonumber(known[2]) or 0, tonumber(known[3]) or 0
-- Entries trimmed before the first look do not count.
base = base or math.max(0, added - stream['length'] - acknowledged)
local missing = added - unread - base - acknowledged - group['pending'] - lost
redis.call('HSET', counters, 'base', math.min(base, base + missing), 'lost', lost + math.max(missing, 0),
  'delivered', delivered)
if missing <= 0 then return {} end
redis.call('INCRBY', P .. 'lost_orders', missing)
return { missing, known[4] or '0-0', unread > 0 and first and is_after(first, delivered) and first or delivered }
