package api

// Paths returns the paths of all routes, and whether each is open.
func Paths() map[string]bool {
	paths := map[string]bool{}
	for _, route := range (&handler{}).routeTable() {
		paths[route.path] = route.open
	}
	return paths
}

// RetryAfter is the Retry-After header of a 503.
const RetryAfter = retryAfter
