// Package digest computes the number by which sets of pods are compared: see src/digest.rs, which
// it has nothing in common with but ../../digest.json, to which both are held.
package digest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/zeebo/xxh3"
)

// Pod is what a reducer knows of one, in the form in which `k8s-relay reducer` shows it.
type Pod struct {
	UID         string      `json:"pod"`
	IP          string      `json:"ip"`
	OwnerKind   uint8       `json:"owner_kind"`
	HostNetwork uint8       `json:"is_host_network"`
	OwnerName   string      `json:"owner_name"`
	OwnerUID    string      `json:"owner_uid"`
	Name        string      `json:"pod_name"`
	Namespace   string      `json:"ns"`
	Version     string      `json:"version"`
	Containers  []Container `json:"containers"`
}

// Container is one of a Pod.
type Container struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Image string `json:"image"`
}

// Digest is that of a set of pods: the sum of their hashes modulo 2^128, and their number.
type Digest struct {
	high, low, Pods uint64
}

// Of computes it.
func Of(pods map[string]Pod) Digest {
	var d Digest
	for _, pod := range pods {
		d.Add(pod)
	}
	return d
}

// Add puts one more pod in.
func (d *Digest) Add(pod Pod) {
	hash := hashOf(pod)
	var carry uint64
	d.low, carry = bits.Add64(d.low, hash.Lo, 0)
	d.high, _ = bits.Add64(d.high, hash.Hi, carry)
	d.Pods++
}

// String is its form everywhere: 32 hexadecimal digits, a slash, and the number of pods.
func (d Digest) String() string { return fmt.Sprintf("%016x%016x/%d", d.high, d.low, d.Pods) }

func hashOf(pod Pod) xxh3.Uint128 {
	var containers [][]byte
	for _, c := range pod.Containers {
		hash := xxh3.Hash128(parts([]byte(c.ID), []byte(c.Name), []byte(c.Image)))
		containers = append(containers, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, hash.Hi), hash.Lo))
	}
	slices.SortFunc(containers, bytes.Compare)
	containers = slices.CompactFunc(containers, bytes.Equal)
	record := [][]byte{
		[]byte(pod.UID), address(pod.IP), {pod.OwnerKind, pod.HostNetwork}, []byte(pod.OwnerName), []byte(pod.OwnerUID),
		[]byte(pod.Name), []byte(pod.Namespace), []byte(pod.Version),
	}
	for _, hash := range containers {
		// They are ordered as numbers, and written with the lowest byte first.
		slices.Reverse(hash)
		record = append(record, hash)
	}
	return xxh3.Hash128(parts(record...))
}

// parts writes each with its length before it.
func parts(all ...[]byte) []byte {
	var record []byte
	for _, part := range all {
		record = binary.LittleEndian.AppendUint64(record, uint64(len(part)))
		record = append(record, part...)
	}
	return record
}

// address gives the four bytes on the wire; what is no IPv4 address is sent as 255.255.255.255.
func address(text string) []byte {
	ip, err := netip.ParseAddr(text)
	if err != nil || !ip.Is4() {
		return []byte{255, 255, 255, 255}
	}
	return ip.AsSlice()
}
