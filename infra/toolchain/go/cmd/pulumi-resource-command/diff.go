// The difference between two sets of inputs, as property paths. It knows nothing of what the properties mean, except
// that triggers replace.
package main

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

type diffKind = pulumirpc.PropertyDiff_Kind

// ignore puts the old value of each ignored top-level property into the new inputs. The engine has dealt with deeper
// paths before the inputs come here.
func ignore(olds, news object, names []string) {
	for _, name := range names {
		if old, set := olds[name]; set {
			news[name] = old
		}
	}
}

func diff(olds, news object) *pulumirpc.DiffResponse {
	response := &pulumirpc.DiffResponse{
		Changes:         pulumirpc.DiffResponse_DIFF_NONE,
		HasDetailedDiff: true,
		DetailedDiff:    map[string]*pulumirpc.PropertyDiff{},
	}
	for _, name := range sortedKeys(union(olds, news)) {
		if name == "version" || strings.HasPrefix(name, "__") {
			continue
		}
		changes := map[string]diffKind{}
		compare(name, olds[name], news[name], changes)
		if len(changes) == 0 {
			continue
		}
		response.Changes = pulumirpc.DiffResponse_DIFF_SOME
		response.Diffs = append(response.Diffs, name)
		for path, kind := range changes {
			// A change of one element says UPDATE: the SDK registers replaceOnChanges for those, and the engine replaces.
			if path == "triggers" {
				kind = replacing[kind]
				response.Replaces = []string{"triggers"}
			}
			response.DetailedDiff[path] = &pulumirpc.PropertyDiff{Kind: kind}
		}
	}
	return response
}

var replacing = map[diffKind]diffKind{
	pulumirpc.PropertyDiff_ADD:    pulumirpc.PropertyDiff_ADD_REPLACE,
	pulumirpc.PropertyDiff_DELETE: pulumirpc.PropertyDiff_DELETE_REPLACE,
	pulumirpc.PropertyDiff_UPDATE: pulumirpc.PropertyDiff_UPDATE_REPLACE,
}

// compare walks maps and lists; a secret is one value, whatever is inside. Null and absent are the same.
func compare(path string, old, new any, changes map[string]diffKind) {
	switch {
	case reflect.DeepEqual(old, new):
		return
	case old == nil:
		changes[path] = pulumirpc.PropertyDiff_ADD
		return
	case new == nil:
		changes[path] = pulumirpc.PropertyDiff_DELETE
		return
	}
	oldMap, oldIsMap := old.(object)
	newMap, newIsMap := new.(object)
	if oldIsMap && newIsMap && oldMap[signatureKey] == nil && newMap[signatureKey] == nil {
		for _, key := range sortedKeys(union(oldMap, newMap)) {
			compare(path+step(key), oldMap[key], newMap[key], changes)
		}
		return
	}
	oldList, oldIsList := old.([]any)
	newList, newIsList := new.([]any)
	if oldIsList && newIsList {
		for i := range max(len(oldList), len(newList)) {
			compare(fmt.Sprintf("%s[%d]", path, i), at(oldList, i), at(newList, i), changes)
		}
		return
	}
	changes[path] = pulumirpc.PropertyDiff_UPDATE
}

var plainKey = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// step is one key of a property path: `.a`, or `["x.y"]` where a dot would be read as two keys.
func step(key string) string {
	if plainKey.MatchString(key) {
		return "." + key
	}
	return `["` + strings.ReplaceAll(key, `"`, `\"`) + `"]`
}

func at(list []any, index int) any {
	if index < len(list) {
		return list[index]
	}
	return nil
}

func union(a, b object) object {
	all := object{}
	for key, value := range a {
		all[key] = value
	}
	for key, value := range b {
		all[key] = value
	}
	return all
}
