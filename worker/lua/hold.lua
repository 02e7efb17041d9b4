-- Asked before every call: does the task still hold the shipment, may its merchant be called now, is the API up?
-- Also renews the lease and, before an allocation call, marks the token so that, should the worker be lost, the shipment
-- is read back first.
--   limits: calls per second are spaced (GCRA) over all workers; who must wait longer than `patience` gets no slot
--   breaker: while open nobody calls; when its time is over one probe at a time may
--
-- KEYS: prefix
-- ARGV: lease in ms, patience in ms, 'together' for one call of all or '', then per shipment: merchant, reference,
--       id of the task, what for ('renew', 'read', 'allocate'), calls per second or 0, api
-- Returns per shipment, flat: 'held' | 'lost' | 'wait' | 'open', ms to wait; of a call that the first may not make,
-- the first alone.
local now, lease, patience, out = clock(), tonumber(ARGV[1]), tonumber(ARGV[2]), {}
local PROBE_MS = 30000

local untils = {}
local function breaker_wait(api)
  untils[api] = untils[api] or tonumber(redis.call('HGET', P .. 'breaker:' .. api, 'until') or 0)
  local till = untils[api]
  if till == 0 then return 0 end
  if now < till then return till - now end
  if redis.call('SET', P .. 'probe:' .. api, 1, 'NX', 'PX', PROBE_MS) then return 0 end
  return 1000
end

-- When this call may go out; takes the slot unless it lies beyond the caller's patience.
local function slot_wait(m, rate)
  if rate <= 0 then return 0 end
  local key, gap = P .. 'slot:' .. m, 1000 / rate
  local at = math.max(now, tonumber(redis.call('GET', key) or 0))
  if at - now <= patience then redis.call('SET', key, at + gap, 'PX', math.ceil(at + gap - now + 1000)) end
  return math.ceil(at - now)
end

local function permit(m, r, id, what, rate, api)
  if not holds(m, r, id) then return 'lost', 0 end
  gather('ZADD', working(m), now + lease, r)
  if what == 'renew' then return 'held', 0 end
  local wait = breaker_wait(api)
  if wait > 0 then return 'open', wait end
  wait = slot_wait(m, tonumber(rate))
  if wait > patience then return 'wait', wait end
  if what == 'allocate' then gather('HSET', tokens(m), r, 'c:' .. id) end
  return 'held', wait
end

for i = 4, #ARGV, 6 do
  out[#out + 1], out[#out + 2] = permit(unpack(ARGV, i, i + 5))
  if ARGV[3] == 'together' and out[1] ~= 'held' then break end
end
write_gathered()
return out
