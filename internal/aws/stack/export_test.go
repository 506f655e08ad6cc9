package stack

// Describe describes a dead letter; see letter.describe.
func Describe(id string, body []byte, attributes map[string]string) (subject, reason string) {
	return letter{id: id, body: body, attributes: attributes}.describe()
}
