"""What the package computes, written again in numpy from papers: plain and slow."""
