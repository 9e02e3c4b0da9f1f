// Command regexp makes patterns and says of each what Go's regexp package says: whether it is one,
// and in which keys it matches. The relay's reader of that dialect is compared with it.
//
// Usage: regexp COUNT SEED. The first line names the keys; each further line is one pattern.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Keys of labels, and texts that distinguish the dialects.
var keys = []string{
	"app", "app.kubernetes.io/name", "app.kubernetes.io/part-of", "tier", "Env", "team_name",
	"pod-template-hash", "a", "", "K8S", "example.com/zone-1a", "x86", "foo", "simplefo-example",
	"9", "a.b.c/d_e", "helm.sh/chart", "kubernetes.io/metadata.name", "sSkK",
	"beta.kubernetes.io/arch", "UPPER", "a\nb", "ſ", "\u212a", "é", "foo\tbar",
}

// The parts that patterns are made of: what is plain first, then what dialects disagree in.
var atoms = []string{
	"a", "b", "app", "k", "s", "K", "S", ".", "-", "_", "/", "kubernetes", "io", `\d`, `\D`, `\w`,
	`\W`, `\s`, `\S`, `\b`, `\B`, `\A`, `\z`, `\Z`, "^", "$", ".", "[a-z]", "[^a-z]",
	"[A-Z0-9_]", "[[:alpha:]]", "[[:^alpha:]]", "[[:word:]]", "[[:foo:]]", "[:alpha:]", "[a-]",
	"[-a]", "[]a]", "[^]a]", "[a", `[\d-z]`, `[a-\d]`, "[z-a]", `[\b]`, "[&&~~]", "[a&&b]",
	"[[a]", `[\]]`, `[\pL]`, `[^\PL]`, `[\x41-\x{5a}]`, `[\n]`, `[\Q]`, `\pL`, `\PL`, `\p{Lu}`,
	`\p{^Lu}`, `\P{^Ll}`, `\p{Greek}`, `\p{greek}`, `\p{Old_Italic}`, `\p{Script=Greek}`,
	`\p{Letter}`, `\p{any}`, `\p{ASCII}`, `\p{Foo}`, `\p{`, `\p`, `\pé`, `\1`, `\12`, `\07`,
	`\0`, `\08`, `\x41`, `\x{41}`, `\x{110000}`, `\x{}`, `\x4`, `\xg`, `\x{d800}`, `\u0041`,
	`\n`, `\t`, `\a`, `\f`, `\v`, `\r`, `\e`, `\c`, `\_`, `\-`, `\/`, `\.`, `\<`, `\>`, `\é`,
	`\Qa.b\E`, `\Q*\E`, `\Q`, `\E`, `\C`, `\X`, `\G`, `\h`, `\R`, `\`, "é", "ſ", "\u212a", "{",
	"}", "{,2}", "{01}", "{1", "{a}", ",", "]", ")", "(", "|", "#", " ", "\n", "&&", "~~", "--",
}

// How many of the atoms are plain enough to be in most patterns.
const plain = 45

var repetitions = []string{
	"*", "+", "?", "*?", "+?", "??", "{2}", "{2,}", "{2,3}", "{0}", "{0,1}", "{1}", "{,3}",
	"{3,2}", "{1000}", "{1001}", "{2}?", "**", "*+", "{2}{3}", "{10}", "{99999999999}", "++",
}

var groups = []string{
	"(", "(?:", "(?i)", "(?i:", "(?s)", "(?m)", "(?U)", "(?-i)", "(?-s:", "(?im-s:", "(?P<n>",
	"(?<n>", "(?P<>", "(?P<n", "(?x)", "(?=", "(?!", "(?<=", "(?#c)", "(?)", "(?-)", "(?i-)",
	"(?--i)", "(?:", "(", "(?:",
}

type result struct {
	Pattern string `json:"pattern"`
	// The places of the keys that match; nil if Go refuses the pattern.
	Matches []int `json:"matches"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "regexp:", err)
		os.Exit(2)
	}
}

func run(arguments []string) error {
	if len(arguments) != 2 {
		return fmt.Errorf("expected a count and a seed")
	}
	count, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	seed, err := strconv.ParseInt(arguments[1], 10, 64)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewSource(seed))
	out := bufio.NewWriter(os.Stdout)
	lines := json.NewEncoder(out)
	if err := lines.Encode(keys); err != nil {
		return err
	}
	for range count {
		if err := lines.Encode(judge(pattern(random))); err != nil {
			return err
		}
	}
	return out.Flush()
}

func judge(pattern string) result {
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return result{Pattern: pattern}
	}
	matches := []int{}
	for at, key := range keys {
		if compiled.MatchString(key) {
			matches = append(matches, at)
		}
	}
	return result{pattern, matches}
}

// pattern is noise, or something that looks like a pattern.
func pattern(random *rand.Rand) string {
	if random.Intn(2) == 0 {
		return noise(random)
	}
	return parts(random, random.Intn(4))
}

func noise(random *rand.Rand) string {
	chars := []rune(`ab(|)*+?{}[]^$.\-pdQE:i<>,1209_/ké `)
	var noise strings.Builder
	for range random.Intn(14) + 1 {
		noise.WriteRune(chars[random.Intn(len(chars))])
	}
	return noise.String()
}

func parts(random *rand.Rand, depth int) string {
	var pattern strings.Builder
	for range 1 + random.Intn(4) {
		pattern.WriteString(part(random, depth))
		if random.Intn(4) == 0 {
			pattern.WriteString(one(random, repetitions))
		}
	}
	return pattern.String()
}

func part(random *rand.Rand, depth int) string {
	choice := random.Intn(20)
	switch {
	case choice < 3 && depth > 0:
		open := one(random, groups)
		group := open + parts(random, depth-1)
		if random.Intn(12) != 0 && !strings.HasSuffix(open, ")") {
			group += ")"
		}
		return group
	case choice < 5 && depth > 0:
		return parts(random, depth-1) + "|" + parts(random, depth-1)
	case choice < 9:
		return one(random, atoms)
	case choice < 15:
		return one(random, atoms[:plain])
	default:
		return one(random, keys)
	}
}

func one(random *rand.Rand, of []string) string {
	return of[random.Intn(len(of))]
}
