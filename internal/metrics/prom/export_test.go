package prom

// Names gives what each metric is called outside.
func Names() map[string]string {
	names := map[string]string{}
	for _, d := range declared() {
		names[d.name] = d.as
	}
	return names
}
