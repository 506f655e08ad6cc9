package template_test

import "slices"

// statement is a statement of a policy document. Single values are lists of one.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
type statement struct {
	allows    bool
	actions   []string
	resources []any
	services  []string // of the principal
	everybody bool     // the principal is *

	resource, condition, principal any
}

func statements(document any) []statement {
	var all []statement
	for _, s := range list(at(document, "Statement")) {
		principal := at(s, "Principal")
		all = append(all, statement{
			allows:    at(s, "Effect") == "Allow",
			actions:   texts(at(s, "Action")),
			resources: list(at(s, "Resource")),
			services:  texts(at(principal, "Service")),
			everybody: principal == "*" || slices.Contains(texts(at(principal, "AWS")), "*"),
			resource:  at(s, "Resource"),
			condition: at(s, "Condition"),
			principal: principal,
		})
	}
	return all
}

// permissions returns the statements of a role's policies.
func permissions(t *template, role string) []statement {
	var all []statement
	for _, policy := range list(t.get(role, "Policies")) {
		all = append(all, statements(at(policy, "PolicyDocument"))...)
	}
	return all
}

// resourcePolicies returns the statements of the policies of buckets, queues and topics, by the policy's logical id.
func resourcePolicies(t *template) map[string][]statement {
	found := map[string][]statement{}
	for _, typ := range []string{"AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"} {
		for _, id := range t.of(typ) {
			found[id] = statements(t.get(id, "PolicyDocument"))
		}
	}
	return found
}
