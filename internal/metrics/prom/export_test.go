package prom

// Names returns the Prometheus name of each metric.
func Names() map[string]string {
	names := map[string]string{}
	for _, d := range declared() {
		names[d.name] = d.promName
	}
	return names
}
