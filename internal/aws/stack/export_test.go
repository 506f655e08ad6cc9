package stack

// About says what a dead letter is about.
func About(id string, body []byte, attributes map[string]string) (subject, reason string) {
	return letter{id: id, body: body, attributes: attributes}.about()
}
