-- ARGV[1] {event, now, tokens, nanos, counters, limits}, ARGV[2] the draft.
-- Replies as `measured` does, or {3, positions of limits whose counters are unseeded}.
local event, now, tokens, nanos, counters, limits = unpack(cmsgpack.unpack(ARGV[1]), 1, 6)
now = clock(now)
local states, changed = load(counters, now)
if redis.call('EXISTS', EXCHANGE .. event) == 1 then
  save_changed(counters, states, changed, now)
  return measured(limits, counters, states, 0, 0, 0, 0)
end
local unseeded = {}
for position, limit in ipairs(limits) do
  local state = states[limit[1]]
  if not state or state[SEED] == '' then
    unseeded[#unseeded + 1] = position - 1
  end
end
local answer = { 3, unseeded }
if #unseeded == 0 then
  -- At least one is asked, so that nothing fits into what is full.
  answer = measured(limits, counters, states, 1, math.max(1, tokens), 1, math.max(1, nanos))
end
if answer[1] == 1 then
  open(event, tokens, nanos, counters, limits, states, ARGV[2], 1, now)
else
  save_changed(counters, states, changed, now)
end
return answer
