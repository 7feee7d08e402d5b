-- one more line below wrk's own percentiles, spelt as they are
function done(_, latency, _)
  io.write(string.format("     95%%   %.2fms\n", latency:percentile(95) / 1000))
end
