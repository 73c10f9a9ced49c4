-- Posts the file $E2E_BODY again and again, and prints what came of it as one line of JSON.
-- The request is made once: nothing here runs while wrk measures.

local file = assert(io.open(os.getenv("E2E_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = os.getenv("E2E_TYPE")
wrk.headers["Accept"] = "application/json"
file:close()

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nE2E {"requests": %d, "seconds": %.6f, "p50": %.1f, "p99": %.1f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
