-- Looks for entries of the orders stream that no intake was ever given: their publisher trimmed them before that, or
-- somebody created the group behind them. How many there are follows from what the server counts (entries ever added,
-- from version 7 on) and what we count (entries acknowledged, entries lost).
--
-- KEYS: prefix, orders stream
-- ARGV: group
-- Returns how many are missing that were not told of before, and the ids that they lie between; nothing if none is
-- missing, or nobody can tell.
-- With more of them nobody can tell until they are read: counting them reads them, and they may be large.
local MOST_UNREAD = 16
local seen = P .. 'orders_seen:' .. KEYS[2]

local function named(flat)
  local out = {}
  for i = 1, #flat, 2 do out[flat[i]] = flat[i + 1] end
  return out
end

local function is_behind(one, other)
  local ms, seq = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  ms, seq, other_ms, other_seq = tonumber(ms), tonumber(seq), tonumber(other_ms), tonumber(other_seq)
  return ms > other_ms or (ms == other_ms and seq > other_seq)
end

if redis.call('EXISTS', KEYS[2]) == 0 then return {} end
local stream, group = named(redis.call('XINFO', 'STREAM', KEYS[2])), nil
for _, each in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  each = named(each)
  if each['name'] == ARGV[1] then group = each end
end
local added = stream['entries-added']
if not group or not added then return {} end

local given, first = group['last-delivered-id'], stream['first-entry'] and stream['first-entry'][1] or nil
local unread
if not first or not is_behind(stream['last-generated-id'], given) then
  unread = 0
elseif is_behind(first, given) then
  unread = stream['length']
else
  unread = #redis.call('XRANGE', KEYS[2], '(' .. given, '+', 'COUNT', MOST_UNREAD)
  if unread == MOST_UNREAD then return {} end
end

local known = redis.call('HMGET', seen, 'base', 'acknowledged', 'lost', 'given')
local base, acknowledged, lost = tonumber(known[1]), tonumber(known[2]) or 0, tonumber(known[3]) or 0
-- What was trimmed before we ever looked is none of ours.
base = base or math.max(0, added - stream['length'] - acknowledged)
local missing = added - unread - base - acknowledged - group['pending'] - lost
redis.call('HSET', seen, 'base', math.min(base, base + missing), 'lost', lost + math.max(missing, 0), 'given', given)
if missing <= 0 then return {} end
redis.call('INCRBY', P .. 'lost_orders', missing)
return { missing, known[4] or '0-0', unread > 0 and first and is_behind(first, given) and first or given }
