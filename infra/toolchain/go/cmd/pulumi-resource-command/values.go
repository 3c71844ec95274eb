// Property values as they travel: JSON-like Go values, in which a secret is a map with a signature and an unknown a
// fixed string. Working on them directly keeps every secret mark exactly where it was.
package main

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"
)

// Signatures of the Pulumi wire format (sdk/go/common/resource/sig and plugin/rpc.go).
const (
	signatureKey    = "4dabf18193072939515e22adb298388d"
	secretSignature = "1b47061264138c4ac30d75fd1eb44270"
	bytesSignature  = "803fd3297a5875dc03ca845dda5d2a98"
	unknown         = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
)

type object = map[string]any

// properties reads a wire struct; a missing one is empty.
func properties(s *structpb.Struct) object {
	if s == nil {
		return object{}
	}
	return s.AsMap()
}

func secret(value any) any {
	if isSecret(value) {
		return value
	}
	return object{signatureKey: secretSignature, "value": value}
}

func isSecret(value any) bool {
	m, ok := value.(object)
	return ok && m[signatureKey] == secretSignature
}

// reveal takes the secret mark off a value, not off what is inside it.
func reveal(value any) any {
	for isSecret(value) {
		value = value.(object)["value"]
	}
	return value
}

// containsUnknown looks through secrets, maps and lists.
func containsUnknown(value any) bool {
	switch v := value.(type) {
	case string:
		return v == unknown
	case object:
		for _, element := range v {
			if containsUnknown(element) {
				return true
			}
		}
	case []any:
		for _, element := range v {
			if containsUnknown(element) {
				return true
			}
		}
	}
	return false
}

// text reads a string property, secret or not, also one that arrived as bytes. The second result says whether it is
// there at all: an empty command is a command, an absent one is not.
func text(props object, name string) (string, bool) {
	switch v := reveal(props[name]).(type) {
	case string:
		return v, true
	case object:
		if v[signatureKey] == bytesSignature {
			encoded, _ := v["value"].(string)
			decoded, err := base64.StdEncoding.DecodeString(encoded)
			return string(decoded), err == nil
		}
	}
	return "", false
}

// number reads a numeric property, or gives the default.
func number(props object, name string, otherwise float64) float64 {
	if v, ok := reveal(props[name]).(float64); ok {
		return v
	}
	return otherwise
}

// output is what a command printed as a property: exactly one final newline is dropped, and bytes that are not UTF-8
// travel as a byte string.
func output(printed []byte) any {
	s := strings.TrimSuffix(string(printed), "\n")
	if utf8.ValidString(s) {
		return s
	}
	return object{signatureKey: bytesSignature, "value": base64.StdEncoding.EncodeToString([]byte(s))}
}
