-- ARGV[1] {event, now, tokens, nanos}. Replies as `measured` does.
local event, now, tokens, nanos = unpack(cmsgpack.unpack(ARGV[1]), 1, 4)
now = clock(now)
local exchange = find(event)
if not exchange or exchange[IS_SETTLED] == 1 then
  return { 1, {}, {} }
end
local counters = exchange[COUNTERS]
local states, changed = load(counters, now)
local answer = measured(exchange[LIMITS], counters, states, 0, tokens, 0, nanos)
if answer[1] == 1 then
  hold(exchange, states, tokens, nanos, now)
else
  save_changed(counters, states, changed, now)
end
write(event, exchange, now + LEASE_MS)
return answer
