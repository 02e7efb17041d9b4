-- What a record says of a shipment that is being taken. Put before the scripts that take.
--
-- In doubt after a change of the server are the shipments that were owned or due at that time, and the orders that may
-- have been there before and were sent again: a call that nobody remembers may have gone out for them. The others go on.
local FIELDS = {
  'company_lost', 'lost_token', 'lost_at', 'asks', 'era', 'noted', 'due',
  'entered', 'facts', 'received', 'published', 'progress', 'step', 'lost_call', 'lost', 'replays',
}
local COMPANY_LOST, LOST_TOKEN, LOST_AT, ASKS, ERA, NOTED, DUE, ENTERED = 1, 2, 3, 4, 5, 6, 7, 8
local PROGRESS, STEP, LOST_CALL, LOST = 12, 13, 14, 15

local function read_record(m, r) return redis.call('HMGET', record(m, r), unpack(FIELDS)) end

-- Since when a shipment is in doubt, or 0. `era`: how often the server had changed when the order was accepted;
-- `noted`: likewise of the lease under which the shipment was last reported. `due` is 0 for who was not waiting for a
-- time: owned at a change, or put forward. `again`: for how many ms after a change an order may be one that was sent
-- again.
local function in_doubt_since(known, changes, changed, before, again)
  if changes == 0 then return 0 end
  if known[NOTED] then
    return tonumber(known[NOTED]) < changes and (tonumber(known[DUE]) or 0) <= before and changed or 0
  end
  local sent_again = (tonumber(known[ENTERED]) or 0) < changed + again
  return ((tonumber(known[ERA]) or 0) < changes or sent_again) and changed or 0
end

-- What the taker is told: reference, entered, facts, received, published, progress, step, lost_call, lost, replays, when
-- the server changed if the shipment is in doubt since then (else 0), and 1 if a call for it may go out at once.
local function told(r, known, doubt, admitted)
  local row = { r, unpack(known, ENTERED, #FIELDS) }
  row[#row + 1], row[#row + 2] = doubt, admitted and 1 or 0
  return row
end
