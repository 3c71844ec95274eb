// What the inputs of remote.Command must look like, and what Check makes of them.
package main

import (
	"fmt"
	"math"
	"sort"
	"strings"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// kind is what a property must be, named as the messages name it.
type kind string

const (
	kindString  kind = "string"
	kindBool    kind = "bool"
	kindNumber  kind = "float64"
	kindInteger kind = "int" // a number whose fraction is dropped
	kindStrings kind = "map[string]interface {}"
	kindList    kind = "[]interface {}"
	kindObject  kind = "object"
)

type field struct {
	name     string
	kind     kind
	required bool
	secret   bool
	fallback any
	fields   []field
}

// The fields of a connection with their defaults, and those that are secret wherever they stand.
func connectionFields(proxy ...field) []field {
	return append([]field{
		{name: "agentSocketPath", kind: kindString},
		{name: "dialErrorLimit", kind: kindInteger, fallback: 10.0},
		{name: "host", kind: kindString, required: true},
		{name: "hostKey", kind: kindString},
		{name: "password", kind: kindString, secret: true},
		{name: "perDialTimeout", kind: kindInteger, fallback: 15.0},
		{name: "port", kind: kindNumber, fallback: 22.0},
		{name: "privateKey", kind: kindString, secret: true},
		{name: "privateKeyPassword", kind: kindString, secret: true},
		{name: "user", kind: kindString, fallback: "root"},
	}, proxy...)
}

var connection = field{
	name: "connection", kind: kindObject, required: true, secret: true,
	fields: connectionFields(field{name: "proxy", kind: kindObject, fields: connectionFields()}),
}

var commandInputs = []field{
	{name: "addPreviousOutputInEnv", kind: kindBool},
	connection,
	{name: "create", kind: kindString},
	{name: "delete", kind: kindString},
	{name: "environment", kind: kindStrings},
	{name: "logging", kind: kindString},
	{name: "stdin", kind: kindString},
	{name: "triggers", kind: kindList},
	{name: "update", kind: kindString},
}

func isInput(name string) bool {
	for _, f := range commandInputs {
		if f.name == name {
			return true
		}
	}
	return false
}

// check gives the inputs as the state keeps them: credentials marked secret and, when nothing is wrong, defaults
// filled in.
func check(inputs object) (object, []*pulumirpc.CheckFailure) {
	failures := failuresOf(inputs)
	// The official plugin reads `secret(unknown)` as an empty host here; the state it makes is what counts.
	if value := inputs["connection"]; isSecret(value) && reveal(value) == unknown {
		inputs["connection"] = secret(object{"host": ""})
	}
	for _, f := range commandInputs {
		if value, set := inputs[f.name]; set {
			inputs[f.name] = normalize(f, value, len(failures) == 0)
		}
	}
	return inputs, failures
}

// normalize marks secret what the field says is secret, at every depth, and fills in defaults where asked.
func normalize(f field, value any, defaults bool) any {
	if isSecret(value) {
		return secret(normalizePlain(f, reveal(value), defaults))
	}
	value = normalizePlain(f, value, defaults)
	if f.secret && value != nil {
		return secret(value)
	}
	return value
}

func normalizePlain(f field, value any, defaults bool) any {
	if n, isNumber := value.(float64); isNumber && f.kind == kindInteger && defaults {
		return math.Trunc(n)
	}
	members, isObject := value.(object)
	if !isObject {
		return value
	}
	for _, member := range f.fields {
		if inner, set := members[member.name]; set {
			members[member.name] = normalize(member, inner, defaults)
		} else if defaults && member.fallback != nil {
			members[member.name] = member.fallback
		}
	}
	return members
}

func failuresOf(inputs object) []*pulumirpc.CheckFailure {
	var failures []*pulumirpc.CheckFailure
	for _, p := range problems(inputs, commandInputs, "remote.CommandInputs") {
		failures = append(failures, &pulumirpc.CheckFailure{Property: p.property, Reason: p.reason})
	}
	return failures
}

type problem struct{ property, reason string }

// problems compares an object with its fields. What is wrong inside a nested object is one problem of that object,
// with the details in its reason.
func problems(values object, fields []field, owner string) []problem {
	var found []problem
	known := map[string]bool{}
	for _, f := range fields {
		known[f.name] = true
		value := reveal(values[f.name])
		if value == nil {
			if f.required {
				found = append(found, problem{f.name, fmt.Sprintf("Missing required field '%s' on '%s'", f.name, owner)})
			}
			continue
		}
		if value == unknown {
			continue
		}
		found = append(found, problemsOf(f, value, owner)...)
	}
	var extra []string
	for name, value := range values {
		if !known[name] && value != nil && !strings.HasPrefix(name, "__") {
			extra = append(extra, name)
		}
	}
	sort.Strings(extra)
	for _, name := range extra {
		found = append(found, problem{name, fmt.Sprintf("Unrecognized field '%s' on '%s'", name, owner)})
	}
	return found
}

func problemsOf(f field, value any, owner string) []problem {
	wrong := func(name string, want kind, got any) problem {
		if want == kindInteger {
			want = kindNumber
		}
		return problem{name, fmt.Sprintf("Field '%s' on '%s' must be a '%s'; got '%T' instead", name, owner, want, got)}
	}
	switch f.kind {
	case kindString:
		if _, ok := value.(string); ok {
			return nil
		}
		if m, ok := value.(object); ok && m[signatureKey] == bytesSignature {
			return nil
		}
	case kindBool:
		if _, ok := value.(bool); ok {
			return nil
		}
	case kindNumber, kindInteger:
		if _, ok := value.(float64); ok {
			return nil
		}
	case kindList:
		if _, ok := value.([]any); ok {
			return nil
		}
	case kindStrings:
		entries, ok := value.(object)
		if !ok {
			break
		}
		var found []problem
		for _, key := range sortedKeys(entries) {
			entry := reveal(entries[key])
			if _, ok := entry.(string); !ok {
				found = append(found, wrong(fmt.Sprintf("%s[%s] value", f.name, key), kindString, entry))
			}
		}
		return found
	case kindObject:
		members, ok := value.(object)
		if !ok {
			break
		}
		inner := problems(members, f.fields, objectName(f))
		if len(inner) == 0 {
			return nil
		}
		return []problem{{f.name, fmt.Sprintf("An error occurred decoding '%s.%s': %s",
			strings.TrimPrefix(owner, "remote."), f.name, listed(inner))}}
	}
	return []problem{wrong(f.name, f.kind, value)}
}

func objectName(f field) string {
	if f.name == "proxy" {
		return "remote.ProxyConnection"
	}
	return "remote.Connection"
}

// listed is the official plugin's way to print several problems as one text.
func listed(found []problem) string {
	text := fmt.Sprintf("%d failures decoding:", len(found))
	for _, p := range found {
		text += fmt.Sprintf("\n\t%s: %s", p.property, p.reason)
	}
	return text
}

// stateProblem says what a state lacks to be updated; an imported resource has nothing.
func stateProblem(state object) error {
	var found []problem
	for _, name := range []string{"connection", "stdout", "stderr"} {
		if reveal(state[name]) == nil {
			found = append(found, problem{name, fmt.Sprintf("Missing required field '%s' on 'remote.CommandOutputs'", name)})
		}
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("%s", listed(found))
}

func sortedKeys(m object) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
