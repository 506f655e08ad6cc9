package api

// Paths gives the paths of all routes, and whether each is open to all.
func Paths() map[string]bool {
	paths := map[string]bool{}
	for _, route := range (&handler{}).routes() {
		paths[route.path] = route.open
	}
	return paths
}

// RetryAfter is what a 503 says, in seconds.
const RetryAfter = retryAfter
