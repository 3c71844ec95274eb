// Masking: what the inputs mark as secret must not come out again in an error text or a log line, which the engine
// prints and keeps as they are.
package main

import (
	"sort"
	"strings"
)

const masked = "[secret]"

// Shorter secrets are left alone, as Pulumi's own log filter does: masking every "1" hides everything and protects
// nothing. A single line of a longer secret (of a key, of a bundle) is masked too, from a length where it is unlikely
// to be an ordinary word.
const (
	shortestSecret = 3
	shortestLine   = 8
)

type mask struct{ replacer *strings.Replacer }

// newMask collects every secret string in the properties, at any depth.
func newMask(props ...object) mask {
	found := map[string]bool{}
	for _, p := range props {
		for name, value := range p {
			// The whole connection is secret, but its host, user or public host key are what an error is about.
			if name == "connection" {
				collectCredentials(reveal(value), found)
			} else {
				collect(value, false, found)
			}
		}
	}
	secrets := make([]string, 0, len(found))
	for s := range found {
		secrets = append(secrets, s)
	}
	// The longest first: where one secret is part of another, the whole is replaced.
	sort.Slice(secrets, func(i, j int) bool {
		if len(secrets[i]) != len(secrets[j]) {
			return len(secrets[i]) > len(secrets[j])
		}
		return secrets[i] < secrets[j]
	})
	pairs := make([]string, 0, 2*len(secrets))
	for _, s := range secrets {
		pairs = append(pairs, s, masked)
	}
	return mask{strings.NewReplacer(pairs...)}
}

func (m mask) apply(s string) string { return m.replacer.Replace(s) }

func collect(value any, inSecret bool, found map[string]bool) {
	switch v := value.(type) {
	case string:
		if inSecret && v != unknown {
			add(v, found)
		}
	case object:
		if v[signatureKey] == secretSignature {
			collect(v["value"], true, found)
			return
		}
		for _, element := range v {
			collect(element, inSecret, found)
		}
	case []any:
		for _, element := range v {
			collect(element, inSecret, found)
		}
	}
}

func collectCredentials(value any, found map[string]bool) {
	members, ok := value.(object)
	if !ok {
		return
	}
	for _, name := range []string{"privateKey", "privateKeyPassword", "password"} {
		if credential, set := text(members, name); set {
			add(credential, found)
		}
	}
	collectCredentials(reveal(members["proxy"]), found)
}

func add(s string, found map[string]bool) {
	s = strings.Trim(s, "\r\n")
	if len(s) < shortestSecret {
		return
	}
	found[s] = true
	lines := strings.Split(s, "\n")
	if len(lines) == 1 {
		return
	}
	for _, line := range lines {
		if line = strings.TrimSpace(line); len(line) >= shortestLine {
			found[line] = true
		}
	}
}
