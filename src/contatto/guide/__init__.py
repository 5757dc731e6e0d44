"""The first hour: setting up what is empty, what to do first, and the documents as help in the product."""
