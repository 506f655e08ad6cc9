package template_test

import (
	"maps"
	"slices"
	"strings"
)

// loops requires RecursiveLoop Allow for functions whose messages return to them, and for no others. Lambda stops a
// function that is invoked about 16 times in one chain through queues, topics and buckets, which protects functions
// that should not loop.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
func loops(t *template) (v violations) {
	for _, id := range t.of(aFunction) {
		loop := reaches(t, id, id, map[string]bool{})
		switch setting := t.get(id, "RecursiveLoop"); {
		case loop && setting != "Allow":
			v.add("%s: its messages return to it, which Lambda stops after 16 times; RecursiveLoop is %v, want Allow", id,
				setting)
		case !loop && setting == "Allow":
			v.add("%s: RecursiveLoop is Allow although its messages don't return to it", id)
		}
	}
	return v
}

// reaches reports whether messages of one resource reach another, directly or through others.
func reaches(t *template, from, to string, seen map[string]bool) bool {
	for _, next := range receivers(t, from) {
		if next == to {
			return true
		}
		if !seen[next] {
			seen[next] = true
			if reaches(t, next, to, seen) {
				return true
			}
		}
	}
	return false
}

// receivers returns the resources that receive the messages or events of a function, queue, topic or bucket. It ignores
// filters of subscriptions and prefixes of notifications.
func receivers(t *template, id string) (all []string) {
	switch t.Resources[id].Type {
	case aFunction:
		sends := map[string]string{
			aTopic: "sns:Publish", aQueue: "sqs:SendMessage", aBucket: "s3:PutObject", aFunction: "lambda:InvokeFunction",
		}
		for _, s := range permissions(t, target(t.get(id, "Role"))) {
			for typ, action := range sends {
				if !s.allows || !slices.Contains(s.actions, action) {
					continue
				}
				for _, other := range t.of(typ) {
					if slices.ContainsFunc(s.resources, func(r any) bool { return isARNOf(t, r, other) }) {
						all = append(all, other)
					}
				}
			}
		}
	case aQueue:
		for _, m := range t.of(aMapping) {
			if target(t.get(m, "EventSourceArn")) == id {
				all = append(all, target(t.get(m, "FunctionName")))
			}
		}
	case aTopic:
		for _, s := range t.of(aSubscription) {
			if target(t.get(s, "TopicArn")) == id {
				all = append(all, target(t.get(s, "Endpoint")))
			}
		}
	case aBucket:
		all = slices.Collect(maps.Keys(mentioned(t.get(id, "NotificationConfiguration"))))
	}
	return slices.DeleteFunc(all, func(other string) bool { return t.Resources[other] == nil })
}

// isARNOf reports whether the resource of a statement is the resource id or objects in it, by reference or by name.
func isARNOf(t *template, resource any, id string) bool {
	if mentioned(resource)[id] {
		return true
	}
	for _, property := range []string{"QueueName", "TopicName", "BucketName", "FunctionName"} {
		name := spelled(t.get(id, property))
		bucket, _, _ := strings.Cut(spelled(resource), "/")
		if name != "" && strings.HasSuffix(bucket, ":"+name) {
			return true
		}
	}
	return false
}
