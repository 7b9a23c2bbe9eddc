-- ARGV[1] {now, {{event, tokens, nanos, counters, limits}, …}}, ARGV[2] … their drafts.

local function keep(event, exchange, tokens, nanos, now)
  local states, changed = load(exchange[COUNTERS], now)
  if exchange[REQUEST] == 1 and not recent(exchange[OPENED], now) then
    -- No rolling window can see its request any more.
    exchange[REQUEST] = 0
    for i, counter in ipairs(exchange[COUNTERS]) do
      if states[i] and not share(counter[NAME], false, 0, 0, 0) then
        drop(states[i], 1, exchange[SEEDS][i])
      end
    end
  end
  hold(exchange, states, math.max(0, tokens - exchange[TOKENS]), math.max(0, nanos - exchange[NANOS]), now)
  write(event, exchange, now + LEASE_MS)
end

local now, asks = unpack(cmsgpack.unpack(ARGV[1]), 1, 2)
now = clock(now)
for i, ask in ipairs(asks) do
  local event, tokens, nanos, counters, limits = unpack(ask)
  local exchange, known = find(event)
  if not known then
    open(event, tokens, nanos, counters, limits, load(counters, now), ARGV[i + 1], 0, now)
  elseif exchange and exchange[IS_SETTLED] == 0 then
    keep(event, exchange, tokens, nanos, now)
  end
end
return 1
